"""python -m graphql_app is graphql-app."""

from graphql_app.cli import app

app()
