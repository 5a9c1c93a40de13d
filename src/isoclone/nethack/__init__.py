"""NetHack: game, experts, recordings, policies. Comes in as a plugin, as any third party may."""
