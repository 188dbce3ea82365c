"""What runs before the event: it plans, cooks, rehearses and checks. `app` never imports it."""
