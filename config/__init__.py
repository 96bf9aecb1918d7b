"""Configuration: settings, the fleet file, profiles of kinds of devices, plug-ins, and translations."""
