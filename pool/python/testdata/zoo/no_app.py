"""Has no Celery application."""
answer = 42
