"""A dashboard and alert rules for Grafana and Prometheus, over the service's figures and the views `v_…`."""
