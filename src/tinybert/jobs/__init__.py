"""Jobs: what each verb does, from settings to an output directory."""
