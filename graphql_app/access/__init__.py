"""Who may come in, as whom, and how often. Knows neither GraphQL nor the chat."""
