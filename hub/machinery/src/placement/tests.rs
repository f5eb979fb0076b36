mod compile;
mod fixtures;
mod groups;
mod properties;
mod scores;
mod selection;
