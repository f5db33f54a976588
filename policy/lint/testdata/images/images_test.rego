package images_test

import data.images

test_nothing if count(images.deny) == 0 with input as {}
