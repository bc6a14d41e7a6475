"""The HTTP edge: `app` routes and shapes errors, `commands` and `questions` hold the handlers."""
