"""Where records come from: files, folders, globs, fsspec URLs and Hugging Face datasets; language identification."""
