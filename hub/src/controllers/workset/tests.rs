mod partial;
mod table;
