CREATE TABLE machine (
	home TEXT NOT NULL,
	name TEXT NOT NULL,
	host TEXT NOT NULL,
	PRIMARY KEY (home, name)
);
UPDATE position SET name = 'journal of before' WHERE name = 'journal';
