"""What a preset may ask for as a loss: functions of `losses`, which needs Keras. Reading a preset does not."""

LOSS_NAMES = ("dice_and_cross_entropy", "dice_or_nothing", "log_dice", "focal", "tversky", "boundary")
