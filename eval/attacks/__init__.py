"""An outside program of attacks: hostile files and configurations, kills and faults."""
