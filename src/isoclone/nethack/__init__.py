"""NetHack: game, experts, recordings and policies, registered through the plugin entry point."""
