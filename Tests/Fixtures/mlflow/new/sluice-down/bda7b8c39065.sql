ALTER TABLE model_version_tags ALTER COLUMN value TYPE varchar(5000);
