//! Container logs: from the bytes of the engine to lines with level and trace id.
