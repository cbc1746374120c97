"""What happens without being asked: supervised tasks over idempotent operations, harmless in many replicas."""
