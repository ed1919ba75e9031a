CREATE TABLE sweep_about (
	name TEXT NOT NULL,
	about TEXT NOT NULL,
	digest TEXT NOT NULL,
	PRIMARY KEY (name)
);
INSERT INTO sweep_about SELECT name, json_remove(record, '$.cells', '$.text'), '' FROM sweep WHERE json_valid(record);
