"""What a client needs for calls: ICE servers, engine tokens, sessions, messages."""
