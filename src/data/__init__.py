"""Where rows are stored and sampled from."""
