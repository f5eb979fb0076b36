mod histories;
mod table;
