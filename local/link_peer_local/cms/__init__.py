"""CloudMonitor (CMS): alarm rules with thresholds, contacts and contact groups. No metric is collected or evaluated."""
