"""What operators need beside the loop: observability, diagnostics, dashboards, privacy, import and export."""
