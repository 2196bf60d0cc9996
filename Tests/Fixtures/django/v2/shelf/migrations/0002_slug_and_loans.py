# SPDX-License-Identifier: Apache-2.0
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shelf", "0001_initial")]
    operations = [
        migrations.RenameField("Book", "author", "written_by"),
        migrations.AddField("Book", "slug", models.CharField(max_length=220, default="")),
        migrations.CreateModel("Loan", [
            ("id", models.BigAutoField(primary_key=True)),
            ("book", models.ForeignKey("shelf.Book", on_delete=models.CASCADE)),
            ("reader", models.CharField(max_length=200))]),
    ]
