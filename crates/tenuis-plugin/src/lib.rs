//! The SDK for authors of Tenuis technique plugins
