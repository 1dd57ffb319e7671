"""What can run an exported model, one runtime a file, behind one small protocol."""
