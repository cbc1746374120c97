"""The import paths of the monitoring guide. Names only: everything is defined in `groat_server`."""
