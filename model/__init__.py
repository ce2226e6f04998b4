"""A model of the protocol that a model checker searches exhaustively; docs/model.md says what that proves."""
