# SPDX-License-Identifier: Apache-2.0
from django.db import migrations
from django.db.models import CharField, F, Value
from django.db.models.functions import Cast, Concat, Lower


def fill(apps, _):
    Book = apps.get_model("shelf", "Book")
    Book.objects.update(slug=Concat(Cast(F("id"), CharField()), Value("-"), Lower(F("title"))))


class Migration(migrations.Migration):
    dependencies = [("shelf", "0002_slug_and_loans")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
