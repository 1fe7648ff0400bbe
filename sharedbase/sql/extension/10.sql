-- Which boot of which machine a process runs on, by the kernel's random id of it: two
-- ids at the same time under one host name are two hosts.
ALTER TABLE winery_process ADD boot text NOT NULL DEFAULT '';
