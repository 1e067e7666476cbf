"""Files straight to Miso, without the engine: validated, in batches, with a journal so that a crash costs nothing."""
