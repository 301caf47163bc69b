"""The GraphQL edge: from the wire to the chat and back.

transport, websocket ─▶ frames, requests ─▶ schema ─▶ queries, mutations, subscriptions ─▶ chat
"""
