"""The loop closes here: drift of what is drawn and answered, and from reviewed corrections to a better model."""
