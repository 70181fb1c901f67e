"""Neural network modules of GPT-SoVITS. They know neither the engine nor the protocol."""
