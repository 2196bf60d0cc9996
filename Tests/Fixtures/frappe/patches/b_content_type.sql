-- SPDX-License-Identifier: Apache-2.0
ALTER TABLE "tabNote" ADD COLUMN content_type text;
