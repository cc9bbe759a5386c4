//! Clients and functions that must compile, whatever surrounds them. What they do is tested on the way.

mod functions;
mod hygiene;
mod names;
mod routers;
mod sessions;
