"""What starloop, evaluation and operations build on to run the loop without knowing how it is started.

- replay: `replay_protocol.py` decodes its lines, `replay.py` runs them through analysis and decisions, `log_loader.py` writes them
  to a log.
- files: `data_dir.py` lists the files of a data directory, `fleet_files.py` and `fleet_state.py` hold the fleet in force.
- processes: `clock.py`, and `service_discovery.py`, by which commands find the service that owns a data directory.
- small shared parts: `durations.py` (command line), `calibration_monitor.py` (metrics and shadow scoring).
"""
