"""Words that the writers add by themselves."""

from .blocks import Text

CONTENTS = Text("Contents", "Sommaire")
EXPECTED = Text("What you should see:", "Ce que vous devez voir :")
PAGE = Text("page", "page")
LANGUAGE_TAGS = {"en": "en-GB", "fr": "fr-FR"}
