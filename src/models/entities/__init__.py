"""Networks that read a flat observation as things and their relations; no size depends on a number of things."""
