"""Networks that see a flat observation as things and relations between them; none of their sizes is a count."""
