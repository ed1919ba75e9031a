CREATE TABLE host_seen (
	host TEXT NOT NULL,
	t FLOAT NOT NULL,
	PRIMARY KEY (host)
);
CREATE TABLE journal (
	id INTEGER NOT NULL,
	seq INTEGER NOT NULL,
	t FLOAT NOT NULL,
	sweep TEXT NOT NULL,
	job TEXT NOT NULL,
	kind TEXT NOT NULL,
	text TEXT NOT NULL,
	attempt INTEGER NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (seq, t, sweep, job, kind, text, attempt)
);
CREATE TABLE "key" (
	id INTEGER NOT NULL,
	name TEXT NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (name)
);
CREATE TABLE position (
	name TEXT NOT NULL,
	"offset" INTEGER NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE sweep (
	id INTEGER NOT NULL,
	name TEXT NOT NULL,
	created TEXT,
	record TEXT,
	PRIMARY KEY (id),
	UNIQUE (name)
);
CREATE TABLE job (
	id INTEGER NOT NULL,
	sweep_id INTEGER NOT NULL,
	uid TEXT NOT NULL,
	label TEXT NOT NULL,
	names TEXT NOT NULL,
	position INTEGER,
	latest_id INTEGER,
	counted_id INTEGER,
	PRIMARY KEY (id),
	UNIQUE (sweep_id, uid),
	FOREIGN KEY(sweep_id) REFERENCES sweep (id)
);
CREATE TABLE attempt (
	id INTEGER NOT NULL,
	job_id INTEGER NOT NULL,
	number INTEGER NOT NULL,
	host TEXT,
	state TEXT NOT NULL,
	reason TEXT NOT NULL,
	warning TEXT NOT NULL,
	damage TEXT NOT NULL,
	final INTEGER NOT NULL,
	known_state TEXT NOT NULL,
	"offset" INTEGER NOT NULL,
	event_t FLOAT,
	latest TEXT,
	spec TEXT,
	exit TEXT,
	result TEXT,
	PRIMARY KEY (id),
	UNIQUE (job_id, number),
	FOREIGN KEY(job_id) REFERENCES job (id)
);
CREATE TABLE artifact (
	attempt_id INTEGER NOT NULL,
	name TEXT NOT NULL,
	sha256 TEXT NOT NULL,
	PRIMARY KEY (attempt_id, name),
	FOREIGN KEY(attempt_id) REFERENCES attempt (id)
)
 WITHOUT ROWID;
CREATE TABLE case_score (
	attempt_id INTEGER NOT NULL,
	"case" TEXT NOT NULL,
	class TEXT NOT NULL,
	"group" TEXT NOT NULL,
	status TEXT NOT NULL,
	dice FLOAT,
	slice_dice FLOAT,
	numbers TEXT NOT NULL,
	PRIMARY KEY (attempt_id, "case", class),
	FOREIGN KEY(attempt_id) REFERENCES attempt (id)
)
 WITHOUT ROWID;
CREATE TABLE event (
	attempt_id INTEGER NOT NULL,
	seq INTEGER NOT NULL,
	t FLOAT,
	kind TEXT NOT NULL,
	body TEXT NOT NULL,
	PRIMARY KEY (attempt_id, seq),
	FOREIGN KEY(attempt_id) REFERENCES attempt (id)
)
 WITHOUT ROWID;
CREATE TABLE metric (
	attempt_id INTEGER NOT NULL,
	key_id INTEGER NOT NULL,
	step INTEGER NOT NULL,
	value FLOAT,
	PRIMARY KEY (attempt_id, key_id, step),
	FOREIGN KEY(attempt_id) REFERENCES attempt (id),
	FOREIGN KEY(key_id) REFERENCES "key" (id)
)
 WITHOUT ROWID;
CREATE TABLE score (
	attempt_id INTEGER NOT NULL,
	key_id INTEGER NOT NULL,
	value FLOAT,
	PRIMARY KEY (attempt_id, key_id),
	FOREIGN KEY(attempt_id) REFERENCES attempt (id),
	FOREIGN KEY(key_id) REFERENCES "key" (id)
)
 WITHOUT ROWID;
CREATE TABLE series (
	attempt_id INTEGER NOT NULL,
	key_id INTEGER NOT NULL,
	first INTEGER NOT NULL,
	steps BLOB,
	data BLOB NOT NULL,
	PRIMARY KEY (attempt_id, key_id),
	FOREIGN KEY(attempt_id) REFERENCES attempt (id),
	FOREIGN KEY(key_id) REFERENCES "key" (id)
);
CREATE INDEX journal_job ON journal (sweep, job);
CREATE INDEX case_score_group ON case_score ("group");
