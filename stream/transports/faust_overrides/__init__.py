"""Every class of Faust that is overridden, in one folder: transports, producers and the table store for both logs."""
