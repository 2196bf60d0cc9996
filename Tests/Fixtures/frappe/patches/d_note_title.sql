-- SPDX-License-Identifier: Apache-2.0
CREATE INDEX note_title ON "tabNote" (title);
