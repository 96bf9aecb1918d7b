"""What the service is told: settings, the fleet (who depends on what), the profiles of kinds of devices, plug-ins."""
