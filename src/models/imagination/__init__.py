"""A network in which whole episodes of a team can be dreamt: tokenizer, dynamics over tokens, actor and critic."""
