"""The commands: plan, cook, rehearse, check, bundle. `app` never imports this package."""
