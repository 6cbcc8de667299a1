mod dialect;
mod dst;
mod properties;
