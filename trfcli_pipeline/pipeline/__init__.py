"""spaCy's side: the trf language, its components, and how pipelines are loaded and saved."""
