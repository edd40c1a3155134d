"""Groups of commands: one file a group, which `flywheel.cli` adds; nothing heavy is imported before a command runs."""
