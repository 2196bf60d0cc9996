-- SPDX-License-Identifier: Apache-2.0
UPDATE "tabDocField" SET sort_options = 'name';
CREATE TABLE "tabPermission Type" (name text PRIMARY KEY, title text);
