-- SPDX-License-Identifier: Apache-2.0
ALTER TABLE "tabView Log" ALTER COLUMN name DROP IDENTITY;
ALTER TABLE "tabView Log" ALTER COLUMN name TYPE text, ALTER COLUMN name SET DEFAULT gen_random_uuid()::text;
